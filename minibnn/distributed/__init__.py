"""What several processes of one job do together, by MPI."""
