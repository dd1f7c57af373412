"""Rules as data: languages of texts as automata, formulas over attributes as circuits.

:mod:`aigc_jax.rules.regex` makes an automaton of a regular expression, :mod:`aigc_jax.rules.words` of forbidden or
required words, :mod:`aigc_jax.rules.statements` of a list of texts, :mod:`aigc_jax.rules.schema` of a JSON schema and
:mod:`aigc_jax.rules.grammar` of a grammar; :mod:`aigc_jax.rules.bytes` combines them, and :mod:`aigc_jax.rules.lift`
moves them to tokens. What none holds :mod:`aigc_jax.rules.on_host` asks llguidance.

:mod:`aigc_jax.rules.formula` reads a condition on attributes of any example, as of an image, and
:mod:`aigc_jax.rules.circuit` makes its probability of it: by :mod:`aigc_jax.rules.diagram` or, of many attributes,
:mod:`aigc_jax.rules.sentential`.
"""
