//go:build !linux

package serve

func dropExecutablePages() error { return nil }
