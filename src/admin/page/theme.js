// The appearance that was chosen last, put on before anything is painted: this one is no module, and waits
// for nothing. It owns the name under which the choice is kept.
;(() => {
  try {
    const chosen = localStorage.getItem('pgmux-appearance')
    if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen
  } catch {
    // Without a place to keep it, it is as the system has it.
  }
})()
