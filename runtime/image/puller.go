package image

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// Reasons of an Error, as they show in a container's waiting state.
const (
	ErrImagePull      = "ErrImagePull"
	ImagePullBackOff  = "ImagePullBackOff"
	InvalidImageName  = "InvalidImageName"
	ErrImageNeverPull = "ErrImageNeverPull"
	ErrImageInspect   = "ImageInspectError"
)

// Error says why an image is not there.
type Error struct {
	Reason  string
	Message string
	// Retry is when it is worth trying again; zero when only a change of the pod helps.
	Retry time.Time
	Err   error
}

func (e *Error) Error() string { return e.Reason + ": " + e.Message }
func (e *Error) Unwrap() error { return e.Err }

// back-off between pulls of one image for one pod.
const (
	firstDelay = 10 * time.Second
	maxDelay   = 5 * time.Minute
)

// Request is one container's wish for an image.
type Request struct {
	// Key identifies who asks, for back-off: the pod's UID.
	Key    string
	Ref    string
	Policy corev1.PullPolicy
	// Secrets are the pod's pull secrets.
	Secrets []corev1.Secret
	// Event reports progress with the kubelet's reasons; may be nil.
	Event func(eventType, reason, message string)
}

// Puller brings images in. It may be used concurrently.
type Puller struct {
	images driver.Images
	now    func() time.Time
	group  singleflight.Group

	mu      sync.Mutex
	backoff map[string]attempt
}

type attempt struct {
	delay time.Duration
	next  time.Time
	cause string
}

// NewPuller makes a Puller; now is the clock, nil for time.Now.
func NewPuller(images driver.Images, now func() time.Time) *Puller {
	if now == nil {
		now = time.Now
	}
	return &Puller{images: images, now: now, backoff: map[string]attempt{}}
}

// Ensure returns the image, pulling it where the policy says so. Its errors are *Error
// or the context's.
func (p *Puller) Ensure(ctx context.Context, r Request) (driver.Image, error) {
	event := r.Event
	if event == nil {
		event = func(string, string, string) {}
	}
	named, err := reference.ParseDockerRef(r.Ref)
	if err != nil {
		msg := fmt.Sprintf("Failed to apply default image tag %q: couldn't parse image name %q: %v", r.Ref, r.Ref, err)
		event(corev1.EventTypeWarning, "InspectFailed", msg)
		return driver.Image{}, &Error{Reason: InvalidImageName, Message: msg, Err: err}
	}
	have, err := p.images.ImageStatus(ctx, r.Ref)
	present := err == nil
	if err != nil && !errors.Is(err, driver.ErrNotFound) {
		if ctx.Err() != nil {
			return driver.Image{}, ctx.Err()
		}
		msg := fmt.Sprintf("Failed to inspect image %q: %v", r.Ref, err)
		event(corev1.EventTypeWarning, "InspectFailed", msg)
		return driver.Image{}, &Error{Reason: ErrImageInspect, Message: msg, Retry: p.now().Add(firstDelay), Err: err}
	}
	switch {
	case r.Policy == corev1.PullNever && !present:
		msg := fmt.Sprintf("Container image %q is not present with pull policy of Never", r.Ref)
		event(corev1.EventTypeWarning, "ErrImageNeverPull", msg)
		// It may be imported at any time.
		return driver.Image{}, &Error{Reason: ErrImageNeverPull, Message: msg, Retry: p.now().Add(firstDelay)}
	case present && r.Policy != corev1.PullAlways:
		event(corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine", r.Ref))
		p.clear(r)
		return have, nil
	}
	if a, ok := p.waiting(r); ok {
		msg := fmt.Sprintf("Back-off pulling image %q: %s", r.Ref, a.cause)
		event(corev1.EventTypeNormal, "BackOff", fmt.Sprintf("Back-off pulling image %q", r.Ref))
		return driver.Image{}, &Error{Reason: ImagePullBackOff, Message: msg, Retry: a.next}
	}
	event(corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", r.Ref))
	start := p.now()
	img, err := p.pull(ctx, r, named)
	if err != nil {
		if ctx.Err() != nil {
			return driver.Image{}, ctx.Err()
		}
		event(corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", r.Ref, err))
		event(corev1.EventTypeWarning, "Failed", "Error: "+ErrImagePull)
		// The next look at the pod says ImagePullBackOff, and Retry says when to look.
		p.failed(r, err)
		return driver.Image{}, &Error{Reason: ErrImagePull, Message: err.Error(), Retry: p.now(), Err: err}
	}
	p.clear(r)
	event(corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in %s. Image size: %d bytes.", r.Ref, p.now().Sub(start).Round(time.Millisecond), img.SizeBytes))
	return img, nil
}

// pull tries the credentials that fit, in their order, and in the end none.
func (p *Puller) pull(ctx context.Context, r Request, named reference.Named) (driver.Image, error) {
	auths, err := Credentials(r.Secrets, named)
	if err != nil {
		return driver.Image{}, err
	}
	var errs []error
	for i := range len(auths) + 1 {
		var auth *driver.RegistryAuth
		key := r.Ref
		if i < len(auths) {
			auth = &auths[i]
			key = strings.Join([]string{r.Ref, auth.Username, auth.Password, auth.IdentityToken}, "\x00")
		} else if len(auths) > 0 && len(errs) > 0 && !denied(errs[len(errs)-1]) {
			break
		}
		// Pods that want the same image wait for one pull. It belongs to none of them, so
		// that one pod's end does not fail the others.
		ch := p.group.DoChan(key, func() (any, error) {
			return p.images.PullImage(context.WithoutCancel(ctx), r.Ref, auth)
		})
		select {
		case <-ctx.Done():
			return driver.Image{}, ctx.Err()
		case res := <-ch:
			if res.Err == nil {
				return res.Val.(driver.Image), nil
			}
			errs = append(errs, res.Err)
		}
	}
	return driver.Image{}, errors.Join(errs...)
}

func denied(err error) bool {
	s := err.Error()
	return strings.Contains(s, "401") || strings.Contains(s, "403") || strings.Contains(s, "authoriz") || strings.Contains(s, "denied")
}

func (r Request) key() string { return r.Key + "\x00" + r.Ref }

func (p *Puller) waiting(r Request) (attempt, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.backoff[r.key()]
	return a, ok && p.now().Before(a.next)
}

func (p *Puller) failed(r Request, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.backoff[r.key()]
	if a.delay == 0 {
		a.delay = firstDelay
	} else {
		a.delay = min(2*a.delay, maxDelay)
	}
	a.next = p.now().Add(a.delay)
	a.cause = cause.Error()
	p.backoff[r.key()] = a
}

func (p *Puller) clear(r Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.backoff, r.key())
}

// Forget drops what is remembered for a key: the pod is gone.
func (p *Puller) Forget(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.backoff {
		if strings.HasPrefix(k, key+"\x00") {
			delete(p.backoff, k)
		}
	}
}
