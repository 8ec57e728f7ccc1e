package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// page fetches the demo's first one.
func page(address string) (string, error) { return fetch(address, "/") }

// fetch gets a page on a connection of its own, as clients behind a service do.
func fetch(address, path string) (string, error) {
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + address + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// TestService reaches the demo through its Service: by cluster IP from the node and from
// inside its own pods, by node port, and not at all when no pod is left.
func TestService(t *testing.T) {
	ns := namespace(t)
	apply(t, hello(ns, 2))
	waitAvailable(t, ns)
	kubectl(t, "-n", ns, "expose", "deployment", "hello", "--type=NodePort", "--port=80", "--target-port=http")
	field := func(path string) string {
		t.Helper()
		return strings.TrimSpace(kubectl(t, "-n", ns, "get", "service", "hello", "-o", "jsonpath="+path))
	}
	ip, port := field("{.spec.clusterIP}"), field("{.spec.ports[0].nodePort}")
	node := strings.TrimSpace(kubectl(t, "get", "node", "e2e-node", "-o", `jsonpath={.status.addresses[?(@.type=="InternalIP")].address}`))

	for _, address := range []string{ip, node + ":" + port} {
		seen := map[string]bool{}
		eventually(t, 30*time.Second, "both pods answer at "+address, func() error {
			body, err := page(address)
			if err != nil {
				return err
			}
			seen[body] = true
			if len(seen) < 2 {
				return fmt.Errorf("so far %v", seen)
			}
			return nil
		})
		for body := range seen {
			if !strings.HasPrefix(body, "Hello from hello-") {
				t.Errorf("%s answered %q", address, body)
			}
		}
	}
	// From each pod, often enough to meet itself as well.
	for _, pod := range pods(t, ns) {
		for range 6 {
			ask := fmt.Sprintf(`printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 %s 80`, ip)
			if out := kubectl(t, "-n", ns, "exec", pod.Name, "--", "sh", "-c", ask); !strings.Contains(out, "Hello from hello-") {
				t.Errorf("from pod %s the service answered %q", pod.Name, out)
			}
		}
	}
	eventually(t, 30*time.Second, "a pod reaches the API by its environment and its token", func() error {
		body, err := fetch(ip, "/whoami")
		if want := `"username":"system:serviceaccount:` + ns + `:default"`; err == nil && !strings.Contains(body, want) {
			err = fmt.Errorf("%q has no %s", body, want)
		}
		return err
	})
	kubectl(t, "-n", ns, "scale", "deployment", "hello", "--replicas=0")
	eventually(t, 30*time.Second, "a service without pods refuses", func() error {
		if body, err := page(ip); err == nil || !strings.Contains(err.Error(), "connection refused") {
			return fmt.Errorf("got %q, %w", body, err)
		}
		return nil
	})
}
