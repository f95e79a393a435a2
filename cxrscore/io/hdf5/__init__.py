"""HDF5 files of others, read without libhdf5 and with distrust."""
