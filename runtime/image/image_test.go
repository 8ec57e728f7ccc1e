package image

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// store is a driver.Images in memory. It is used by one goroutine at a time.
type store struct {
	have    map[string]driver.Image
	pulls   int
	pullErr func(auth *driver.RegistryAuth) error
}

func (s *store) PullImage(_ context.Context, ref string, auth *driver.RegistryAuth) (driver.Image, error) {
	s.pulls++
	if s.pullErr != nil {
		if err := s.pullErr(auth); err != nil {
			return driver.Image{}, err
		}
	}
	s.have[ref] = driver.Image{ID: "id-of-" + ref}
	return s.have[ref], nil
}

func (s *store) ImageStatus(_ context.Context, ref string) (driver.Image, error) {
	if i, ok := s.have[ref]; ok {
		return i, nil
	}
	return driver.Image{}, driver.ErrNotFound
}
func (s *store) ImportImages(context.Context, io.Reader) ([]driver.Image, error) { return nil, nil }
func (s *store) ListImages(context.Context) (out []driver.Image, _ error) {
	for _, i := range s.have {
		out = append(out, i)
	}
	return out, nil
}
func (s *store) RemoveImage(_ context.Context, id string) error {
	for k, i := range s.have {
		if i.ID == id {
			delete(s.have, k)
		}
	}
	return nil
}

func TestPolicies(t *testing.T) {
	for _, c := range []struct {
		policy  corev1.PullPolicy
		present bool
		ref     string
		pulls   int
		reason  string
	}{
		{corev1.PullIfNotPresent, true, "a:1", 0, ""},
		{corev1.PullIfNotPresent, false, "a:1", 1, ""},
		{corev1.PullAlways, true, "a:1", 1, ""},
		{corev1.PullNever, true, "a:1", 0, ""},
		{corev1.PullNever, false, "a:1", 0, ErrImageNeverPull},
		{corev1.PullIfNotPresent, false, "a/UPPER", 0, InvalidImageName},
		{corev1.PullIfNotPresent, false, "a b", 0, InvalidImageName},
	} {
		s := &store{have: map[string]driver.Image{}}
		if c.present {
			s.have[c.ref] = driver.Image{ID: "here"}
		}
		_, err := NewPuller(s, nil).Ensure(context.Background(), Request{Ref: c.ref, Policy: c.policy})
		var ie *Error
		errors.As(err, &ie)
		if (c.reason == "") != (err == nil) || ie != nil && ie.Reason != c.reason || s.pulls != c.pulls {
			t.Errorf("%+v: %v after %d pulls", c, err, s.pulls)
		}
	}
}

func TestBackOff(t *testing.T) {
	now := time.Unix(1000, 0)
	fail := true
	s := &store{have: map[string]driver.Image{}, pullErr: func(*driver.RegistryAuth) error {
		if fail {
			return errors.New("registry is away")
		}
		return nil
	}}
	p := NewPuller(s, func() time.Time { return now })
	var events []string
	try := func() string {
		_, err := p.Ensure(context.Background(), Request{Key: "pod", Ref: "a:1", Policy: corev1.PullIfNotPresent, Event: func(_, r, _ string) { events = append(events, r) }})
		var ie *Error
		if errors.As(err, &ie) {
			return ie.Reason
		}
		return fmt.Sprint(err)
	}
	for i, wait := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		if r := try(); r != ErrImagePull {
			t.Fatalf("attempt %d: %s", i, r)
		}
		if r := try(); r != ImagePullBackOff {
			t.Fatalf("right after attempt %d: %s", i, r)
		}
		now = now.Add(wait*time.Second - 1)
		if r := try(); r != ImagePullBackOff {
			t.Fatalf("%v after attempt %d: %s", wait*time.Second-1, i, r)
		}
		now = now.Add(1)
	}
	if want := []string{"Pulling", "Failed", "Failed", "BackOff"}; !slices.Equal(events[:4], want) {
		t.Errorf("events %v, want %v", events[:4], want)
	}
	fail = false
	if r := try(); r != "<nil>" {
		t.Errorf("after recovery: %s", r)
	}
	fail = true
	delete(s.have, "a:1")
	try()
	now = now.Add(firstDelay)
	if r := try(); r != ErrImagePull {
		t.Errorf("the delay did not begin anew: %s", r)
	}
	p.Forget("pod")
	if r := try(); r != ErrImagePull {
		t.Errorf("after Forget: %s", r)
	}
}

func secret(data string) corev1.Secret {
	return corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "pull"}, Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(data)}}
}

func TestCredentials(t *testing.T) {
	enc := base64.StdEncoding.EncodeToString([]byte("bob:pa:ss"))
	s := secret(`{"auths":{
		"https://index.docker.io/v1/":{"username":"hub","password":"x"},
		"*.example.com":{"username":"wild","password":"x"},
		"reg.example.com/team":{"auth":"` + enc + `"},
		"localhost:5000":{"username":"local","password":"x"}}}`)
	for image, want := range map[string]string{
		"nginx":                        "hub",
		"reg.example.com/team/app:1":   "bob wild",
		"reg.example.com/teamster/app": "wild",
		"a.b.example.com/x":            "",
		"localhost:5000/x":             "local",
		"localhost:5001/x":             "",
		"other.org/x":                  "",
	} {
		named, err := reference.ParseDockerRef(image)
		if err != nil {
			t.Fatal(err)
		}
		auths, err := Credentials([]corev1.Secret{s}, named)
		var got []string
		for _, a := range auths {
			got = append(got, a.Username)
			if a.Username == "bob" && a.Password != "pa:ss" {
				t.Errorf("password %q", a.Password)
			}
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v, %v, want %s", image, got, err, want)
		}
	}
	named, _ := reference.ParseDockerRef("x")
	if _, err := Credentials([]corev1.Secret{secret("{")}, named); err == nil || !strings.Contains(err.Error(), "ns/pull") {
		t.Errorf("a broken secret gave %v", err)
	}
}

func TestCredentialsAreTriedInTurn(t *testing.T) {
	var tried []string
	s := &store{have: map[string]driver.Image{}, pullErr: func(a *driver.RegistryAuth) error {
		if a == nil {
			tried = append(tried, "-")
			return nil
		}
		tried = append(tried, a.Username)
		return errors.New("401 Unauthorized")
	}}
	sec := secret(`{"auths":{"r.io/a":{"username":"one"},"r.io":{"username":"two"}}}`)
	_, err := NewPuller(s, nil).Ensure(context.Background(), Request{Ref: "r.io/a", Policy: corev1.PullAlways, Secrets: []corev1.Secret{sec}})
	if err != nil || !slices.Equal(tried, []string{"one", "two", "-"}) {
		t.Errorf("tried %v, %v", tried, err)
	}
}

func TestCollect(t *testing.T) {
	old := time.Now().Add(-time.Hour)
	s := &store{have: map[string]driver.Image{}}
	for i, n := range []string{"oldest", "older", "used", "pinned", "fresh"} {
		s.have[n] = driver.Image{ID: n, LastUsed: old.Add(time.Duration(i) * time.Minute), Pinned: n == "pinned"}
	}
	s.have["fresh"] = driver.Image{ID: "fresh", LastUsed: time.Now()}
	usage := 80
	c := &Collector{
		Images: s, High: 85, Low: 70, MinAge: time.Minute, Log: slog.New(slog.DiscardHandler),
		InUse: func(context.Context) (map[string]bool, error) { return map[string]bool{"used": true}, nil },
		Usage: func() (int, error) { return usage + 2*len(s.have), nil },
	}
	usage = 70
	if got, err := c.Collect(context.Background()); err != nil || got != nil {
		t.Errorf("below the mark %v, %v went", got, err)
	}
	usage = 80
	if got, err := c.Collect(context.Background()); err != nil || !slices.Equal(got, []string{"oldest", "older"}) {
		t.Errorf("%v, %v went", got, err)
	}
	if _, err := DiskUsage(t.TempDir()); err != nil {
		t.Error(err)
	}
}
