/** How the page looks. Colours of the system alone decide between dark and light. */
export const style = `
:root {
  color-scheme: light dark;
  --ground: light-dark(#ffffff, #14171a);
  --raised: light-dark(#f3f5f7, #1d2125);
  --text: light-dark(#1a1d21, #e4e7ea);
  --quiet: light-dark(#555d66, #9aa4ae);
  --line: light-dark(#d5dae0, #333a41);
  --good: light-dark(#14692c, #6fd08a);
  --bad: light-dark(#a3181f, #ff8f88);
  --late: light-dark(#7a4a00, #f0b866);
  --mark: light-dark(#0b57d0, #8ab4f8);
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 14px/1.45 system-ui, sans-serif; }
header { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .4rem 1.2rem; align-items: baseline;
  padding: .6rem 1rem; background: var(--raised); border-bottom: 1px solid var(--line); }
h1 { margin: 0; font-size: 1.15rem; }
h2 { margin: 1.2rem 0 .4rem; font-size: 1rem; }
main { padding: 0 1rem 2rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(30rem, 1fr)); gap: 0 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--quiet); border-bottom: 1px solid var(--line); }
th, td { padding: .18rem .8rem .18rem 0; vertical-align: top; white-space: nowrap; }
td:last-child { white-space: normal; overflow-wrap: anywhere; }
[role='treegrid'] td:last-child { min-width: 16rem; }
td.number, th.number { text-align: right; }
.name, .mono, pre { font-family: ui-monospace, monospace; font-size: 13px; }
.good { color: var(--good); }
.bad { color: var(--bad); font-weight: 600; }
.late { color: var(--late); }
.quiet { color: var(--quiet); }
tr[tabindex] { cursor: pointer; }
tr[tabindex]:hover { background: var(--raised); }
:focus-visible { outline: 2px solid var(--mark); outline-offset: -2px; }
button, input { font: inherit; color: inherit; background: var(--ground); border: 1px solid var(--line); border-radius: 4px; padding: .15rem .6rem; }
input { width: min(26rem, 100%); }
kbd { font: 12px ui-monospace, monospace; border: 1px solid var(--line); border-radius: 3px; padding: 0 .3rem; }
dialog { width: min(70rem, 92vw); max-height: 86vh; background: var(--ground); color: var(--text); border: 1px solid var(--line); border-radius: 6px; }
dialog pre { overflow: auto; max-height: 66vh; }
dialog::backdrop { background: rgb(0 0 0 / .4); }
`;
