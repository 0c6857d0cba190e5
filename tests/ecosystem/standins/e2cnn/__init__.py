"""Names that MMRotate imports for ReDet's backbone, whose package wheels do not exist of. Nothing runs on it."""
