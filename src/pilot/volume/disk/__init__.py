"""One open disk: its files, and who may read, write, cut and evict. In a worker, or in volumed for a detached one."""
