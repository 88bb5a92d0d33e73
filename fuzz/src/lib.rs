//! Shared entry of the fuzz targets.
