package managedfields

import (
	"strings"
	"sync"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// joins keeps what join has answered: objects of one origin own the same fields and are
// changed alike, and writing a whole set out costs more than all else that is done for it.
var joins = struct {
	sync.Mutex
	m     map[joining]string
	bytes int
}{m: map[joining]string{}}

type joining struct{ owned, more string }

// maxJoinBytes bounds the text kept.
const maxJoinBytes = 256 << 10

// join returns the fieldsV1 of a manager that owns the fields of one and now those of
// another too, which is also given as a set.
func join(owned, more string, added *fieldpath.Set) (string, error) {
	key := joining{owned, more}
	joins.Lock()
	both, ok := joins.m[key]
	joins.Unlock()
	if ok {
		return both, nil
	}
	s, err := set(owned)
	if err != nil {
		return "", err
	}
	if both, err = text(s.Union(added)); err != nil {
		return "", err
	}
	size := len(owned) + len(more) + len(both)
	if size > maxJoinBytes {
		return both, nil
	}
	joins.Lock()
	defer joins.Unlock()
	if joins.bytes+size > maxJoinBytes {
		clear(joins.m)
		joins.bytes = 0
	}
	if _, ok := joins.m[key]; !ok {
		// Clones, so that no object's whole text is kept.
		joins.m[joining{strings.Clone(owned), strings.Clone(more)}] = both
		joins.bytes += size
	}
	return both, nil
}
