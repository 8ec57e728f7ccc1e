//go:build !linux

package inprocess

// fastDir is where what need not last is kept: the system's directory for temporary files.
func fastDir() string { return "" }
