//go:build !linux

package serve

// mappedOfFiles says that there is nothing to give back.
func mappedOfFiles() (int, error) { return 0, nil }

func dropExecutablePages() error { return nil }
