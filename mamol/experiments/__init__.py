"""Many runs and what is made of them: the paper's tables and figures, and the stand-in comparison."""
