package serve

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mappedOfFiles is how many bytes of files, which are nearly all of the executable, are mapped.
func mappedOfFiles() (int, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("reading how much is mapped: %w", err)
	}
	var size, resident, shared int
	if _, err := fmt.Sscan(string(b), &size, &resident, &shared); err != nil {
		return 0, fmt.Errorf("how much is mapped: %q: %w", b, err)
	}
	return shared * os.Getpagesize(), nil
}

func dropExecutablePages() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("finding this executable: %w", err)
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("reading the memory map: %w", err)
	}
	defer f.Close()
	type mapping struct{ from, to uintptr }
	var all []mapping
	var at mapping // what is looked at, nothing where it must stay
	s := bufio.NewScanner(f)
	for s.Scan() {
		if l := s.Bytes(); len(l) == 0 || l[0] >= 'A' && l[0] <= 'Z' && !bytes.HasPrefix(l, []byte("Anonymous:")) {
			continue // one of twenty lines about a mapping that are not of interest
		}
		fields := strings.Fields(s.Text())
		if !strings.HasSuffix(fields[0], ":") {
			// The head of a mapping.
			at = mapping{}
			if len(fields) < 6 || fields[5] != exe || fields[1] != "r-xp" && fields[1] != "r--p" {
				continue
			}
			if _, err := fmt.Sscanf(fields[0], "%x-%x", &at.from, &at.to); err != nil {
				return fmt.Errorf("memory map: %q: %w", fields[0], err)
			}
			continue
		}
		// What was written to would be lost. A loader writes to pages that are read-only
		// afterwards (relocations), and they are not those of the file any more.
		if fields[0] != "Anonymous:" || len(fields) < 2 || fields[1] != "0" || at.from == 0 {
			continue
		}
		all = append(all, at)
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("reading the memory map: %w", err)
	}
	// At the end, so that what was needed to get here goes too.
	for _, m := range all {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
	return nil
}
