package garbage

import "sync"

// maxAbsences bounds how many owners are remembered as absent.
const maxAbsences = 1024

// absences remembers owners that were deleted (by UID alone) or looked for in vain (by
// all that a reference says), since many dependents ask for the same one. UIDs are not
// used twice, so an absence never ends.
type absences struct {
	mu  sync.Mutex
	set map[identity]struct{}
}

func newAbsences() *absences { return &absences{set: map[identity]struct{}{}} }

func (a *absences) add(id identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.set) >= maxAbsences {
		for old := range a.set {
			delete(a.set, old)
			break
		}
	}
	a.set[id] = struct{}{}
}

func (a *absences) has(id identity) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, missed := a.set[id]
	_, deleted := a.set[identity{UID: id.UID}]
	return missed || deleted
}
