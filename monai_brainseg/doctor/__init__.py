"""Is this bundle, this machine, this data set fit to run?"""
