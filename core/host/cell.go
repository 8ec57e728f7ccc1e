package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pintle-dev/pintle/core/host/confine"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// softShare of its memory limit is what a plugin's Go heap is told to keep to, so that the
// collector works before the kernel kills.
const softShare = 0.9

// limits of the plugin's processes. First-party plugins have only what their entry says.
func (i *instance) limits() Limits {
	l := i.spec.Limits
	if i.spec.FirstParty() {
		return l
	}
	std := i.host.config.Limits
	if l.MemoryBytes <= 0 {
		l.MemoryBytes = std.MemoryBytes
	}
	if l.MilliCPU <= 0 {
		l.MilliCPU = std.MilliCPU
	}
	if l.Processes <= 0 {
		l.Processes = std.Processes
	}
	if l.DiskBytes <= 0 {
		l.DiskBytes = std.DiskBytes
	}
	return l
}

// softMemoryLimit is the plugin's GOMEMLIMIT in bytes, 0 for none.
func (i *instance) softMemoryLimit() int64 {
	if i.spec.MemoryLimit > 0 {
		return i.spec.MemoryLimit
	}
	return int64(softShare * float64(i.limits().MemoryBytes))
}

// starter returns what forks the plugin's process, and what is to be called when that has
// ended: a third party's gets a cell, first-party ones the host's own thread. sockets is the
// directory in which the plugin listens.
func (i *instance) starter(cmd *exec.Cmd, env protocol.Environment, sockets string) (starter, func(*Exit), error) {
	if i.spec.FirstParty() {
		return i.host.launcher, func(*Exit) {}, nil
	}
	program, err := filepath.EvalSymlinks(cmd.Path)
	if err != nil {
		return nil, nil, fmt.Errorf("binary: %w", err)
	}
	cmd.Path = program
	g := confine.Guest{
		Name: i.spec.Name, Limits: confine.Limits(i.limits()), Network: i.spec.Network,
		Write: []string{env.Dir, sockets}, Read: []string{i.around(program)},
	}
	i.spec.give(&g)
	if err := givePlaces(&g, env.Dir); err != nil {
		return nil, nil, err
	}
	if err := roomLeft(&g, env.Dir); err != nil {
		return nil, nil, err
	}
	for _, socket := range []string{env.API.Socket, env.Peers.Socket} {
		if _, err := os.Stat(socket); err == nil {
			g.Read = append(g.Read, socket)
		}
	}
	var reachesByTCP bool
	if env.API.Socket == "" && env.API.Server != "" && !g.Network {
		g.Network, reachesByTCP = true, true
	}
	cell, err := i.host.keeper.Open(g)
	if err != nil {
		return nil, nil, fmt.Errorf("confine: %w", err)
	}
	r := cell.Report()
	if reachesByTCP {
		r.Skipped = append(r.Skipped, string(confine.OwnNetwork)+": it reaches the API server by TCP")
	}
	i.confined(r)
	if st, err := os.Stat(program); err == nil && st.Mode()&0o005 != 0o005 && r.UserID != uint32(os.Geteuid()) {
		cell.Close()
		return nil, nil, refuse("the plugin runs as user %d, which may not run %s: make its mode 0755", r.UserID, program)
	}
	if slices.Contains(r.Measures, confine.OwnView) {
		cmd.Env = append(cmd.Env, "TMPDIR=/tmp") // it has that for itself
	}
	i.setCell(cell)
	disk := watchDisk(cell, g.Limits.DiskBytes, i.log)
	return cell, func(e *Exit) {
		if over := disk.stop(); over && e != nil {
			e.DiskLimit = g.Limits.DiskBytes
		}
		if u, ok := cell.Usage(); ok && e != nil {
			e.cpu = u.CPU
			if e.Signal != "" && u.OOMKills > 0 {
				e.MemoryLimit = g.Limits.MemoryBytes
			}
		}
		cell.Close()
		i.setCell(nil)
	}, nil
}

// around is what a plugin sees of the place of its binary: the directory, as programs bring
// files of their own, but for one in which there is something to hide.
func (i *instance) around(program string) string {
	dir := filepath.Dir(program)
	for _, hidden := range append([]string{i.host.config.Dir}, i.host.config.Hide...) {
		if dir == "/" || dir == hidden || strings.HasPrefix(hidden, dir+"/") {
			return program
		}
	}
	return dir
}

// confined records how the plugin's process is confined, and logs once what is missing.
func (i *instance) confined(r confine.Report) {
	measures := make([]string, 0, len(r.Measures))
	for _, m := range r.Measures {
		measures = append(measures, string(m))
	}
	var before []string
	i.update(func(st *Status) {
		before = st.NotConfined
		st.UserID, st.Confined, st.NotConfined = r.UserID, measures, r.Skipped
	})
	if missing := strings.Join(r.Skipped, "; "); missing != "" && missing != strings.Join(before, "; ") {
		i.log.Warn("plugin is not confined completely", "missing", missing)
	}
}

// where the plugin's process is, nil where it has no cell.
func (i *instance) where() *confine.Cell {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.cell
}

// setCell says where the plugin's process is, for those who ask what it takes.
func (i *instance) setCell(c *confine.Cell) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.cell = c
}

// mebibytes writes a number of bytes for people.
func mebibytes(n int64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
