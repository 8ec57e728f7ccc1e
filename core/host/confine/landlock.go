package confine

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What Landlock knows of files, by the version that brought it.
const (
	landlockRead  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockFirst = unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1
)

// readable are the directories of the system that a guest may read under Landlock.
var readable = []string{"/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/proc", "/sys", "/dev", "/opt"}

func landlockVersion() (int, error) {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, fmt.Errorf("the kernel has no Landlock: %w", errno)
	}
	return int(v), nil
}

// landlockFiles leaves the calling thread what the guest was given and the system's programs
// to read, and the guest's own to write. The machine's other processes can't be looked into or
// sent signals.
func landlockFiles(g Guest) error {
	version, err := landlockVersion()
	if err != nil {
		return err
	}
	rules := unix.LandlockRulesetAttr{Access_fs: landlockFirst}
	if version >= 2 {
		rules.Access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= 3 {
		rules.Access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= 5 {
		rules.Access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if version >= 6 {
		rules.Scoped = unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
	}
	set, err := landlockSet(rules)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(set) }()
	for _, p := range readable {
		access := uint64(landlockRead)
		if p == "/dev" { // such as /dev/null; what may be opened is up to permissions
			access |= unix.LANDLOCK_ACCESS_FS_WRITE_FILE | rules.Access_fs&unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
		}
		if err := landlockAllow(set, p, access); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	for _, p := range g.Read {
		if err := landlockAllow(set, p, landlockRead); err != nil {
			return err
		}
	}
	for _, p := range g.Write {
		if err := landlockAllow(set, p, rules.Access_fs); err != nil {
			return err
		}
	}
	for _, given := range g.Given {
		access := uint64(landlockRead)
		if given.Write {
			access = rules.Access_fs
		}
		if err := landlockAllow(set, given.Path, access); err != nil {
			return err
		}
	}
	return landlockEnter(set)
}

// landlockNetwork takes TCP away.
func landlockNetwork() error {
	version, err := landlockVersion()
	if err != nil {
		return err
	}
	if version < 4 {
		return fmt.Errorf("the kernel's Landlock is version %d and knows no network", version)
	}
	set, err := landlockSet(unix.LandlockRulesetAttr{
		Access_net: unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP,
	})
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(set) }()
	return landlockEnter(set)
}

func landlockSet(rules unix.LandlockRulesetAttr) (int, error) {
	set, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), unsafe.Sizeof(rules), 0)
	if errno != 0 {
		return -1, fmt.Errorf("landlock rules: %w", errno)
	}
	return int(set), nil
}

func landlockAllow(set int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("landlock rule for %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("landlock rule for %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
			unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(set), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("landlock rule for %s: %w", path, errno)
	}
	return nil
}

func landlockEnter(set int) error {
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(set), 0, 0); errno != 0 {
		return fmt.Errorf("enter Landlock: %w", errno)
	}
	return nil
}
