package host

import "github.com/pintle-dev/pintle/sdk/remote"

// openLines makes the way by which a process is called beside gRPC. Where the system gives none,
// all calls go over gRPC.
func (i *instance) openLines() *remote.Lines {
	lines, err := remote.NewLines()
	if err != nil {
		i.out.note("is called over gRPC alone: %v", err)
	}
	return lines
}
