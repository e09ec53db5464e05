"""A backbone whose feed-forward parts are mixtures of experts, pre-trained on scenes without labels.

After MAPEX (arXiv 2507.07527), of which no code is public: docs/PRETRAINING.md says what is our choice.
"""
