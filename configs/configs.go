// Package configs embeds the profiles that ship with Pintle, so that the binary needs no
// file beside it.
package configs

import (
	"embed"
	"strings"
)

// Files holds the profiles, NAME.yaml each.
//
//go:embed *.yaml
var Files embed.FS

// Profiles returns the names of the embedded profiles.
func Profiles() []string {
	entries, err := Files.ReadDir(".")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}
