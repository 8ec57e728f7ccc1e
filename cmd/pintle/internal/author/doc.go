// Package author is what plugins' authors have on their own machine: it builds a plugin, notices
// that its source has changed, follows its log, holds it for a debugger, and asks it what it has
// to say of itself. It must not know clusters: who installs what it has built does.
package author
