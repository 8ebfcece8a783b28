"""How the bundled tiny model's training data is made: programs, their execution, dialogues, tokenizer.

Used by ``scripts/dev/train_tiny_model.py`` only; the pipeline itself knows nothing of it.
"""
