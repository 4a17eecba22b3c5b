"""The processes that may wait for a disk: the zygote and what it forks: workers, freeze guards, errands."""
