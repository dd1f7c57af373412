"""How the page looks: by day and by night, on a desk and on a phone, and on paper."""

STYLE = """
:root { color-scheme: light dark; --text: #1c2126; --soft: #59636e; --line: #d9dfe4; --page: #fff; --panel: #fafbfc;
  --bar: #2f6fb0; --track: #e9edf1;
  --missed: #b3261e; --undecided: #8a5800; --met: #19703e; --worse: #a85600; --alike: #1f5f99; --unknown: #667079;
  --c0: #0b66a8; --c1: #c04f00; --c2: #00795a; --c3: #97408f; --c4: #6b5900; --c5: #4a4f57; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ec; --soft: #a2adb7; --line: #343c45; --page: #14181c; --panel: #191e23;
    --bar: #5c9fe0; --track: #262d35;
    --missed: #ff8a80; --undecided: #ecb84d; --met: #6fd197; --worse: #ffab52; --alike: #7fbcf2; --unknown: #a2adb7;
    --c0: #5cb1f2; --c1: #ff9a4a; --c2: #3dcca0; --c3: #e693dc; --c4: #e3d35a; --c5: #c3cad1; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 76rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.25rem; margin: 2.25rem 0 .75rem; display: flex; gap: .5rem; align-items: center; }
h3 { font-size: 1rem; margin: 0; }
h4 { font-size: .9rem; margin: .75rem 0 .25rem; font-weight: 600; }
p { margin: .25rem 0; max-width: 48rem; }
a { color: inherit; }
code { display: block; margin: .4rem 0 0; padding: .4rem .6rem; background: var(--track); border-radius: .3rem;
  font: .85rem/1.4 ui-monospace, monospace; white-space: pre-wrap; }
code span { display: inline-block; max-width: 100%; }
ul, ol { list-style: none; margin: 0; padding: 0; }
.soft, small, dt, figcaption, .axis { color: var(--soft); }
small { display: block; font-size: .85rem; line-height: 1.35; }
.verdict { font-size: 1.1rem; font-weight: 600; margin: .75rem 0; max-width: 64rem; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; font-size: .9rem; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .1rem .75rem; margin: .4rem 0;
  font-size: .875rem; line-height: 1.35; }
dd { margin: 0; font-variant-numeric: tabular-nums; }
dl.left { grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); gap: .3rem .75rem; max-width: 48rem; }
.facts { display: flex; flex-wrap: wrap; gap: 0 1rem; margin: .3rem 0; font-size: .875rem; line-height: 1.4;
  color: var(--soft); max-width: none; }
.facts strong { color: var(--text); font-weight: normal; display: inline-block; font-variant-numeric: tabular-nums; }
.lights { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.light { --colour: var(--unknown); border: 1px solid var(--line); border-top: .35rem solid var(--colour);
  border-radius: .5rem; padding: .75rem .9rem; background: var(--panel); }
.missed { --colour: var(--missed); } .undecided { --colour: var(--undecided); } .met { --colour: var(--met); }
.unknown { --colour: var(--unknown); } .worse { --colour: var(--worse); } .alike { --colour: var(--alike); }
.light h3 { display: flex; gap: .5rem; align-items: center; }
.light .word { color: var(--colour); font-weight: 600; line-height: 1.3; }
.icon { flex: none; width: 1.5rem; height: 1.5rem; fill: var(--colour); }
.icon .in { fill: none; stroke: var(--page); stroke-width: 2.4; stroke-linecap: round; }
.icon .out { fill: none; stroke: var(--colour); stroke-width: 2.4; stroke-dasharray: 4 3; }
.number b, .figure b { display: block; font-size: 1.5rem; font-weight: 600; line-height: 1.3;
  font-variant-numeric: tabular-nums; }
.number { margin: .4rem 0; }
.light .soft, .light li { font-size: .875rem; line-height: 1.35; margin: .25rem 0; }
.light details span { display: block; color: var(--soft); }
.light summary { list-style-position: outside; margin-left: 1rem; }
.targets li { display: flex; gap: .4rem; align-items: flex-start; }
.targets .icon { width: 1.1rem; height: 1.1rem; }
summary { cursor: pointer; font-size: .875rem; padding: .25rem 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); gap: .75rem; }
.figure { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .9rem; line-height: 1.35; }
.figure h3 { font-weight: normal; color: var(--soft); }
.proxy { display: inline-block; font-size: .8rem; border: 1px dashed var(--soft); border-radius: .3rem;
  padding: 0 .4rem; margin: 0 0 .25rem; justify-self: start; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: .75rem;
  align-items: start; grid-auto-flow: dense; }
.panel { margin: 0; border: 1px solid var(--line); border-radius: .5rem; padding: .75rem .9rem; min-width: 0; }
.panel.wide { grid-column: 1 / -1; }
.panel h3 { margin-bottom: .5rem; }
figcaption { font-size: .9rem; line-height: 1.4; margin-top: .5rem; max-width: 48rem; }
.plot { display: block; width: 100%; max-width: 30rem; height: auto; fill: none; stroke-linejoin: round; }
.plot text { fill: var(--text); }
.axis { font-size: .85rem; margin: 0; max-width: 30rem; }
.axis.x { text-align: right; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .875rem; margin-bottom: .4rem; }
.legend li { display: flex; gap: .4rem; align-items: center; }
.sign { flex: none; display: inline-block; width: 1.75rem; height: .75rem; }
.sign.mark { width: 3px; height: 1rem; background: var(--text); }
.sign.whisker, .bars s { border: solid var(--text); border-width: 0 1px;
  background: linear-gradient(var(--text), var(--text)) center / 100% 1px no-repeat; }
.sign.whisker { width: 1.5rem; height: .5rem; }
.scroll { overflow-x: auto; max-width: 100%; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { text-align: right; padding: .25rem .5rem; border-bottom: 1px solid var(--line); font-weight: normal; }
thead th { color: var(--soft); vertical-align: bottom; }
th:first-child { text-align: left; }
.scroll table { min-width: min(100%, 24rem); }
.scroll td { white-space: nowrap; }
.scroll th:first-child { position: sticky; left: 0; background: var(--page); max-width: 9rem; }
.scroll td.long { white-space: normal; min-width: 15rem; text-align: left; }
.scroll th:first-child { min-width: 5.5rem; overflow-wrap: anywhere; }
.scroll .matrix th:first-child { min-width: 3rem; overflow-wrap: anywhere; }
.matrix thead th { max-width: 6rem; overflow-wrap: anywhere; }
.bars { width: 100%; max-width: 48rem; }
.bars td { white-space: nowrap; } .bars small { white-space: normal; }
.bars th:first-child { padding-left: 0; max-width: 10rem; overflow-wrap: anywhere; }
.bars .bar { width: 45%; min-width: 5.5rem; }
.bars th.bar span { float: left; } .bars th.bar span + span { float: right; }
.bars div { position: relative; height: 1.1rem; background: var(--track); border-radius: .15rem; }
.bars i, .bars s, .bars b { position: absolute; top: .15rem; bottom: .15rem; }
.bars i { left: 0; background: var(--bar); border-radius: .15rem; }
.bars s { top: .35rem; bottom: .35rem; min-width: 3px; text-decoration: none; }
.bars b { top: -.1rem; bottom: -.1rem; width: 3px; margin-left: -1.5px; background: var(--text); }
.matrix td { text-align: center; min-width: 2.2rem; border: 1px solid var(--page); padding: .25rem .35rem; }
.matrix thead th { text-align: center; }
.matrix .none { color: var(--soft); }
.matrix .hatched th, .matrix .hatched td { background-image: repeating-linear-gradient(-45deg, transparent 0 5px,
  color-mix(in srgb, var(--text) 22%, transparent) 5px 6px); }
.gallery { display: flex; flex-wrap: wrap; gap: .6rem; }
.groups { gap: .6rem 1.5rem; }
.strip li { display: grid; gap: .25rem; align-content: start; }
.picture { font-size: .75rem; line-height: 1.25; text-align: center; max-width: 100%; }
.picture span { display: block; margin-top: .15rem; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; image-rendering: pixelated;
  border-radius: .2rem; }
.samples { width: 100%; max-width: 40rem; margin: 0; }
.actions { counter-reset: step; display: grid; gap: .75rem; }
.actions li { counter-increment: step; border-left: .25rem solid var(--bar); padding: .1rem 0 .1rem .9rem;
  max-width: 56rem; }
.actions p { margin: .15rem 0; }
.actions b::before { content: counter(step) ". "; }
footer { margin-top: 3rem; font-size: .85rem; color: var(--soft); }
@media (max-width: 36rem) {
  body { padding-top: 1rem; }
  .verdict { font-size: 1rem; margin: .5rem 0; }
  .lights { gap: .6rem; }
  .light { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 0 .75rem; padding: .6rem .75rem; }
  .light > * { grid-column: 1 / -1; }
  .light .said { grid-column: 1; } .light .number { grid-column: 2; margin: 0; text-align: right; }
  .number b, .figure b { font-size: 1.2rem; }
  .figure { display: grid; grid-template-columns: 1fr auto; gap: 0 .75rem; align-items: baseline; }
  .figure > * { grid-column: 1 / -1; } .figure h3 { grid-column: 1; } .figure b { grid-column: 2; }
  th, td { padding: .25rem .3rem; }
  .panel { padding: .6rem .6rem; }
  .scroll th:first-child { max-width: 7.5rem; }
  .named tr { display: grid; grid-template-columns: minmax(0, 1fr) 7.5rem; grid-auto-columns: 3.75rem;
    border-bottom: 1px solid var(--line); align-items: center; }
  .named th, .named td { border: 0; grid-row: 2; }
  .named th:first-child { grid-area: 1 / 1 / 2 / 4; max-width: none; padding-bottom: 0; }
  .named .bar { grid-column: 1; width: auto; }
}
@media print { .light, .figure, .panel { break-inside: avoid; } nav, summary { display: none; } }
"""
"""One sheet, inside the page: it needs no other file."""
