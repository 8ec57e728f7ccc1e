package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pintle-dev/pintle/core/host/confine"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// softShare of its memory limit is what a plugin's Go heap is told to keep to, so that the
// collector works before the kernel kills.
const softShare = 0.9

// limits of the plugin's processes. First-party plugins have only what their entry says.
func (s *instance) limits() Limits {
	l := s.spec.Limits
	if s.spec.FirstParty() {
		return l
	}
	std := s.host.config.Limits
	if l.MemoryBytes <= 0 {
		l.MemoryBytes = std.MemoryBytes
	}
	if l.MilliCPU <= 0 {
		l.MilliCPU = std.MilliCPU
	}
	if l.Processes <= 0 {
		l.Processes = std.Processes
	}
	return l
}

// softMemoryLimit is the plugin's GOMEMLIMIT in bytes, 0 for none.
func (s *instance) softMemoryLimit() int64 {
	if s.spec.MemoryLimit > 0 {
		return s.spec.MemoryLimit
	}
	return int64(softShare * float64(s.limits().MemoryBytes))
}

// starter returns what forks the plugin's process, and what is to be called when that has
// ended: a third party's gets a cell, first-party ones the host's own thread. sockets is the
// directory in which the plugin listens.
func (s *instance) starter(cmd *exec.Cmd, env protocol.Environment, sockets string) (starter, func(*Exit), error) {
	if s.spec.FirstParty() {
		return s.host.launcher, func(*Exit) {}, nil
	}
	program, err := filepath.EvalSymlinks(cmd.Path)
	if err != nil {
		return nil, nil, fmt.Errorf("binary: %w", err)
	}
	cmd.Path = program
	g := confine.Guest{
		Name: s.spec.Name, Limits: confine.Limits(s.limits()), Network: s.spec.Network,
		Write: []string{env.Dir, sockets}, Read: []string{s.around(program)},
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
	cell, err := s.host.keeper.Open(g)
	if err != nil {
		return nil, nil, fmt.Errorf("confine: %w", err)
	}
	r := cell.Report()
	if reachesByTCP {
		r.Skipped = append(r.Skipped, string(confine.OwnNetwork)+": it reaches the API server by TCP")
	}
	s.confined(r)
	if st, err := os.Stat(program); err == nil && st.Mode()&0o005 != 0o005 && r.UserID != uint32(os.Geteuid()) {
		cell.Close()
		return nil, nil, refuse("the plugin runs as user %d, which may not run %s: make its mode 0755", r.UserID, program)
	}
	s.setCell(cell)
	return cell, func(e *Exit) {
		if u, ok := cell.Usage(); ok && e != nil {
			e.cpu = u.CPU
			if e.Signal != "" && u.OOMKills > 0 {
				e.MemoryLimit = g.Limits.MemoryBytes
			}
		}
		cell.Close()
		s.setCell(nil)
	}, nil
}

// around is what a plugin sees of the place of its binary: the directory, as programs bring
// files of their own, but for one in which there is something to hide.
func (s *instance) around(program string) string {
	dir := filepath.Dir(program)
	for _, hidden := range append([]string{s.host.config.Dir}, s.host.config.Hide...) {
		if dir == "/" || dir == hidden || strings.HasPrefix(hidden, dir+"/") {
			return program
		}
	}
	return dir
}

// confined records how the plugin's process is confined, and logs once what is missing.
func (s *instance) confined(r confine.Report) {
	measures := make([]string, 0, len(r.Measures))
	for _, m := range r.Measures {
		measures = append(measures, string(m))
	}
	var before []string
	s.update(func(st *Status) {
		before = st.NotConfined
		st.UserID, st.Confined, st.NotConfined = r.UserID, measures, r.Skipped
	})
	if missing := strings.Join(r.Skipped, "; "); missing != "" && missing != strings.Join(before, "; ") {
		s.log.Warn("plugin is not confined completely", "missing", missing)
	}
}

// where the plugin's process is, nil where it has no cell.
func (s *instance) where() *confine.Cell {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cell
}

// setCell says where the plugin's process is, for those who ask what it takes.
func (s *instance) setCell(c *confine.Cell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cell = c
}

// mebibytes writes a number of bytes for people.
func mebibytes(n int64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
