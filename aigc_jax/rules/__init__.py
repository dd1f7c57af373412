"""Rules as data: languages of texts as automata over bytes, and over the tokens of a vocabulary.

:mod:`aigc_jax.rules.regex` makes an automaton of a regular expression, :mod:`aigc_jax.rules.words` of forbidden or
required words, :mod:`aigc_jax.rules.statements` of a list of texts; :mod:`aigc_jax.rules.bytes` combines them, and
:mod:`aigc_jax.rules.lift` moves them to tokens.
"""
