"""What a checkpoint file holds, its one reader and its one writer."""
