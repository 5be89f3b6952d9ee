// Sorts a table by the heading that was clicked, and the other way when clicked again; what is no number stays last.
for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => {
  const head = button.parentElement, body = head.closest("table").tBodies[0];
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const rows = [...body.rows].map(row => [row, row.cells[head.cellIndex].textContent.trim()]);
  const numeric = rows.some(([, text]) => text !== "" && !isNaN(text));
  const number = text => text === "" || isNaN(text) ? sign * Infinity : Number(text);
  rows.sort(([, a], [, b]) => sign * (numeric ? (number(a) - number(b) || 0) : a.localeCompare(b)));
  body.append(...rows.map(([row]) => row));
});
