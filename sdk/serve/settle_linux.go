package serve

import (
	"bufio"
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
	var from, to uintptr // the mapping that is looked at, 0 where it must stay
	s := bufio.NewScanner(f)
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) == 0 {
			continue
		}
		if !strings.HasSuffix(fields[0], ":") {
			// The head of a mapping.
			from, to = 0, 0
			if len(fields) < 6 || fields[5] != exe || fields[1] != "r-xp" && fields[1] != "r--p" {
				continue
			}
			if _, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to); err != nil {
				return fmt.Errorf("memory map: %q: %w", fields[0], err)
			}
			continue
		}
		// What was written to would be lost. A loader writes to pages that are read-only
		// afterwards (relocations), and they are not those of the file any more.
		if fields[0] != "Anonymous:" || len(fields) < 2 || fields[1] != "0" || from == 0 {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
	return s.Err()
}
