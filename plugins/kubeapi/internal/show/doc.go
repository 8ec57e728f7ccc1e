// Package show turns parts of objects into the words of a table's cells.
//
// It must know nothing of definitions or hooks.
package show
