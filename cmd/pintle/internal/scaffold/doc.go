// Package scaffold writes the project that a plugin's author begins with.
//
// Below projects is one whole plugin for each kind. They are ordinary packages of this
// repository, built, vetted and tested with it, whose names are made another's when they are
// written out:
//
//	gizmo-name   the plugin's name           backup-window
//	Gizmo        its kind, in Go and YAML    BackupWindow
//	gizmo        in lower case               backupwindow
//	gizmos       the resource                backupwindows
//	example.dev  the API group
//
// What all of them have lies in projects/common. The package must not know clusters.
package scaffold
