package volume

import (
	"context"
	"strings"
	"sync"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
)

// tokens keeps service-account tokens until four fifths of their life are over.
type tokens struct {
	src Source
	now func() time.Time

	mu   sync.Mutex
	have map[string]token
}

type token struct {
	value   string
	renewAt time.Time
	expires time.Time
}

func newTokens(src Source) *tokens {
	return &tokens{src: src, now: time.Now, have: map[string]token{}}
}

// get returns a token that is good for a while. Where a new one cannot be had, the old
// one serves until it expires.
func (t *tokens) get(ctx context.Context, pod *corev1.Pod, spec authv1.TokenRequestSpec) (string, error) {
	key := string(pod.UID) + "\x00" + strings.Join(spec.Audiences, "\x00") + "\x00" + time.Duration(*spec.ExpirationSeconds).String()
	t.mu.Lock()
	old, ok := t.have[key]
	t.mu.Unlock()
	now := t.now()
	if ok && now.Before(old.renewAt) {
		return old.value, nil
	}
	st, err := t.src.Token(ctx, pod, spec)
	if err != nil {
		if ok && now.Before(old.expires) {
			return old.value, nil
		}
		return "", err
	}
	life := st.ExpirationTimestamp.Sub(now)
	renew := min(life*4/5, 24*time.Hour)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.have[key] = token{value: st.Token, renewAt: now.Add(renew), expires: st.ExpirationTimestamp.Time}
	return st.Token, nil
}

func (t *tokens) forget(uid string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range t.have {
		if strings.HasPrefix(k, uid+"\x00") {
			delete(t.have, k)
		}
	}
}
