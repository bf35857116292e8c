// The page of the dashboard: shows what the stream of events says. It never makes markup out of texts.
const shown = document.getElementById('now')
const events = new EventSource('/dashboard/events')

events.addEventListener('now', (event) => {
  if (shown !== null) shown.textContent = JSON.stringify(JSON.parse(event.data), null, 2)
})
