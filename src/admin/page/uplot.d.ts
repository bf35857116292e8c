// `uplot.js` is the package uplot as the server hands it out; these are its types.
export { default } from 'uplot'
