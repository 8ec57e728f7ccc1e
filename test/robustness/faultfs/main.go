// Program faultfs mounts a folder through FUSE and lets a test make its disk slow, full or
// broken, or take its power: it remembers what was written since the last fsync and takes
// any part of it back.
//
// It knows nothing of the program that is tested, and serves one mount until it is told to
// crash or to unmount.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("faultfs: ")
	var (
		backing = flag.String("backing", "", "folder that has the files")
		trash   = flag.String("trash", "", "folder beside backing that keeps what was removed and not synced")
		mount   = flag.String("mount", "", "where to mount it")
		control = flag.String("control", "", "unix socket to take commands at")
		boot    = flag.String("boot", "", "file to show as /proc/sys/kernel/random/boot_id")
	)
	strict := flag.Bool("strict", false, "an fsync of a file makes no entry of a folder durable")
	flag.Parse()
	if err := run(*backing, *trash, *mount, *control, *boot, *strict); err != nil {
		log.Fatal(err)
	}
}

func run(backing, trash, mount, control, boot string, strict bool) error {
	if boot != "" {
		if err := unix.Mount(boot, "/proc/sys/kernel/random/boot_id", "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("covering the boot id: %w", err)
		}
	}
	if err := os.RemoveAll(trash); err != nil {
		return err
	}
	if err := os.MkdirAll(trash, 0o700); err != nil {
		return err
	}
	d := &disk{journal: newJournal(trash, strict), faults: Faults{Free: -1}}
	root, err := newRoot(backing, d)
	if err != nil {
		return err
	}
	second := time.Second
	server, err := fs.Mount(mount, root, &fs.Options{
		AttrTimeout: &second, EntryTimeout: &second,
		MountOptions: fuse.MountOptions{
			DirectMountStrict: true, FsName: "faultfs", Name: "faultfs", MaxWrite: maxWrite,
		},
	})
	if err != nil {
		return fmt.Errorf("mounting %s: %w", mount, err)
	}
	l, err := net.Listen("unix", control)
	if err != nil {
		return err
	}
	c, err := l.Accept() // One test, one connection; its end is the end of the mount.
	if err != nil {
		return err
	}
	in, out := bufio.NewScanner(c), json.NewEncoder(c)
	for in.Scan() {
		var cmd Command
		if err := json.Unmarshal(in.Bytes(), &cmd); err != nil {
			return err
		}
		answer, end := obey(d, server, mount, cmd)
		if err := out.Encode(answer); err != nil || end {
			return err
		}
	}
	_ = unix.Unmount(mount, unix.MNT_DETACH)
	return in.Err()
}

// Command is what a test says, one JSON object a line.
type Command struct {
	// Faults to have from now on.
	Faults *Faults `json:"faults,omitempty"`
	// Crash takes back a random part of what was not synced, and ends.
	Crash *Crash `json:"crash,omitempty"`
	// Unmount writes everything back and ends.
	Unmount bool `json:"unmount,omitempty"`
}

// Answer to a command.
type Answer struct {
	Error string `json:"error,omitempty"`
	// Of a crash: blocks and changes of folders that were not synced, and how many of them
	// are gone.
	Blocks, LostBlocks, Entries, LostEntries int
}

func obey(d *disk, server *fuse.Server, mount string, cmd Command) (a Answer, end bool) {
	fail := func(err error) (Answer, bool) { return Answer{Error: err.Error()}, true }
	if cmd.Faults != nil {
		d.set(*cmd.Faults)
	}
	switch {
	case cmd.Crash != nil:
		d.stop()
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			return fail(err)
		}
		a, err := d.journal.crash(*cmd.Crash)
		if err != nil {
			return fail(err)
		}
		return a, true
	case cmd.Unmount:
		if err := server.Unmount(); err != nil {
			return fail(err)
		}
		return Answer{}, true
	}
	return Answer{}, false
}
