package catalogue

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// anyPlatform is the platform of a script: whatever has its interpreter.
const anyPlatform = ""

// elfArchitectures are Go's names of the machines that ELF knows by number.
var elfArchitectures = map[elf.Machine][2]string{ // little endian, big endian
	elf.EM_X86_64:    {"amd64", ""},
	elf.EM_AARCH64:   {"arm64", ""},
	elf.EM_386:       {"386", ""},
	elf.EM_ARM:       {"arm", ""},
	elf.EM_PPC64:     {"ppc64le", "ppc64"},
	elf.EM_S390:      {"", "s390x"},
	elf.EM_RISCV:     {"riscv64", ""},
	elf.EM_LOONGARCH: {"loong64", ""},
}

// detectPlatform reads from the beginning of a binary what it runs on, as "os/architecture".
func detectPlatform(r io.ReaderAt) (string, error) {
	head := make([]byte, 20)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	head = head[:n]
	if bytes.HasPrefix(head, []byte("#!")) {
		return anyPlatform, nil
	}
	if n < 20 || string(head[:4]) != elf.ELFMAG {
		return "", errors.New("is neither a Linux executable (ELF) nor a script (#!…)")
	}
	var order binary.ByteOrder = binary.LittleEndian
	endian := 0
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order, endian = binary.BigEndian, 1
	}
	machine := elf.Machine(order.Uint16(head[18:]))
	arch := elfArchitectures[machine][endian]
	if arch == "" {
		return "", fmt.Errorf("is built for a machine that is not known here (%s)", machine)
	}
	return "linux/" + arch, nil
}

// runsOn reports whether something for platform have runs on platform want.
func runsOn(have, want string) bool { return have == anyPlatform || have == want }

// platformName is a platform as people read it.
func platformName(p string) string {
	if p == anyPlatform {
		return "any platform"
	}
	return p
}
