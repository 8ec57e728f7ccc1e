package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestKubectl walks through what people do with kubectl, with the machine's own and with
// the embedded one.
func TestKubectl(t *testing.T) {
	for name, command := range cluster.kubectls {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) { walkKubectl(t, command) })
	}
}

func walkKubectl(t *testing.T, command []string) {
	ns := namespace(t)
	k := func(args ...string) string {
		t.Helper()
		return run(t, append(append([]string{}, command...), append([]string{"-n", ns}, args...)...)...)
	}
	in := func(stdin string, args ...string) (string, error) {
		t.Helper()
		return try(t, stdin, append(append([]string{}, command...), append([]string{"-n", ns}, args...)...)...)
	}
	has := func(out string, wants ...string) {
		t.Helper()
		for _, w := range wants {
			if !strings.Contains(out, w) {
				t.Errorf("want %q in:\n%s", w, out)
			}
		}
	}
	manifest := hello(ns, 2)
	if out, err := in(manifest, "apply", "-f", "-"); err != nil {
		t.Fatalf("apply: %v\n%s", err, out)
	}
	has(k("wait", "--for=condition=Available", "deployment/hello", "--timeout=60s"), "condition met")
	k("rollout", "status", "deployment/hello", "--timeout=60s")
	has(k("get", "pods", "-o", "wide"), "READY", "1/1", "Running", "10.245.", "e2e-node", "NOMINATED NODE")
	has(k("get", "deployments,replicasets"), "UP-TO-DATE", "DESIRED", "2/2")
	pod := pods(t, ns)[0]
	has(k("describe", "pod", pod.Name), "Node:", "e2e-node/", "pintle.dev/hello:v1", "Events:", "Scheduled", "Started")
	has(k("describe", "deployment", "hello"), "StrategyType:", "RollingUpdate", "ScalingReplicaSet")

	page, err := http.Get("http://" + net.JoinHostPort(pod.Status.PodIP, "8080") + "/")
	if err != nil {
		t.Fatalf("page of pod %s: %v", pod.Name, err)
	}
	body, _ := io.ReadAll(page.Body)
	_ = page.Body.Close()
	has(string(body), "Hello from "+pod.Name)

	followLogs(t, command, ns, pod.Name, pod.Status.PodIP)
	has(k("exec", pod.Name, "--", "sh", "-c", "echo out of $POD_NAME"), "out of "+pod.Name)
	if out, err := in("ls /\nexit 7\n", "exec", "-i", pod.Name, "--", "sh"); err == nil || !strings.Contains(out, "hello") {
		t.Errorf("exec -i: got error %v and:\n%s", err, out)
	}
	// -t wants a terminal; script(1) gives it one.
	if _, err := exec.LookPath("script"); err == nil {
		line := strings.Join(command, " ") + " -n " + ns + " exec -it " + pod.Name + " -- sh -c 'tty; echo width $(stty size)'"
		has(run(t, "script", "-qec", line, "/dev/null"), "/dev/pts/", "width")
	}
	portForward(t, command, ns, pod.Name)

	k("scale", "deployment", "hello", "--replicas=3")
	k("rollout", "status", "deployment/hello", "--timeout=60s")
	if n := len(pods(t, ns)); n != 3 {
		t.Errorf("after scaling to 3 there are %d pods", n)
	}
	has(k("set", "image", "deployment/hello", "web=pintle.dev/hello:v2"), "image updated")
	has(k("rollout", "status", "deployment/hello", "--timeout=90s"), "successfully rolled out")
	has(k("get", "deployment", "hello", "-o", "jsonpath={.spec.template.spec.containers[0].image}"), "hello:v2")
	has(k("rollout", "history", "deployment/hello"), "REVISION", "2")
	has(k("rollout", "undo", "deployment/hello"), "rolled back")
	k("rollout", "status", "deployment/hello", "--timeout=90s")
	has(k("get", "deployment", "hello", "-o", "jsonpath={.spec.template.spec.containers[0].image}"), "hello:v1")

	has(k("explain", "pod.spec.containers"), "KIND:", "Pod", "FIELD: containers", "imagePullPolicy", "List of containers belonging to the pod")
	has(k("api-resources"), "deployments", "deploy", "apps/v1", "customresourcedefinitions", "widgets")
	has(k("auth", "can-i", "create", "pods"), "yes")
	if out, err := in("", "auth", "can-i", "create", "pods", "--as=nobody"); err == nil || !strings.Contains(out, "no") {
		t.Errorf("nobody can create pods: %v %s", err, out)
	}
	if out, err := in("", "get", "secrets", "--as=system:serviceaccount:"+ns+":default"); err == nil || !strings.Contains(out, "Forbidden") {
		t.Errorf("RBAC lets a service account read secrets: %v\n%s", err, out)
	}

	if out, err := in(strings.Replace(manifest, "replicas: 2", "replicas: 1", 1), "diff", "-f", "-"); err == nil || !strings.Contains(out, "replicas: 1") {
		t.Errorf("diff: %v\n%s", err, out)
	}
	config := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ssa}\ndata: {a: %q}\n"
	if out, err := in(fmt.Sprintf(config, "1"), "apply", "--server-side", "--field-manager=one", "-f", "-"); err != nil {
		t.Errorf("apply --server-side: %v\n%s", err, out)
	}
	if out, err := in(fmt.Sprintf(config, "2"), "apply", "--server-side", "--field-manager=two", "-f", "-"); err == nil || !strings.Contains(out, "conflict") {
		t.Errorf("a second manager takes a field without a conflict: %v\n%s", err, out)
	}
	if out, err := in(fmt.Sprintf(config, "2"), "apply", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-"); err != nil {
		t.Errorf("apply --force-conflicts: %v\n%s", err, out)
	}
	watchPods(t, command, ns)
	has(k("delete", "deployment", "hello"), "deleted")
	eventually(t, 30*time.Second, "pods of the deleted deployment go", func() error {
		if n := len(pods(t, ns)); n > 0 {
			return fmt.Errorf("%d pods are left", n)
		}
		return nil
	})
}

// stream starts a command whose output is read line by line; it ends with the test.
func stream(t *testing.T, command []string) (<-chan string, func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig())
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		s := bufio.NewScanner(out)
		for s.Scan() {
			lines <- s.Text()
		}
	}()
	return lines, func() {
		cancel()
		_ = cmd.Wait()
	}
}

func waitLine(t *testing.T, lines <-chan string, want string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case l, ok := <-lines:
			if !ok {
				t.Fatalf("the stream ended before a line with %q", want)
			}
			if strings.Contains(l, want) {
				return
			}
		case <-limit:
			t.Fatalf("no line with %q", want)
		}
	}
}

func followLogs(t *testing.T, command []string, ns, pod, ip string) {
	t.Helper()
	lines, stop := stream(t, append(append([]string{}, command...), "-n", ns, "logs", "-f", pod))
	defer stop()
	waitLine(t, lines, "serves")
	mark := fmt.Sprintf("/mark-%d", time.Now().UnixNano())
	resp, err := http.Get("http://" + net.JoinHostPort(ip, "8080") + mark)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	waitLine(t, lines, mark)
}

func portForward(t *testing.T, command []string, ns, pod string) {
	t.Helper()
	lines, stop := stream(t, append(append([]string{}, command...), "-n", ns, "port-forward", pod, ":8080"))
	defer stop()
	var port string
	limit := time.After(30 * time.Second)
	for port == "" {
		select {
		case l, ok := <-lines:
			if !ok {
				t.Fatal("port-forward ended")
			}
			if rest, found := strings.CutPrefix(l, "Forwarding from 127.0.0.1:"); found {
				port, _, _ = strings.Cut(rest, " ")
			}
		case <-limit:
			t.Fatal("port-forward does not say its port")
		}
	}
	for range 2 {
		resp, err := http.Get("http://127.0.0.1:" + port + "/")
		if err != nil {
			t.Fatalf("through port-forward: %v", err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if !strings.Contains(string(b), "Hello from "+pod) {
			t.Errorf("through port-forward: %s", b)
		}
	}
}

func watchPods(t *testing.T, command []string, ns string) {
	t.Helper()
	lines, stop := stream(t, append(append([]string{}, command...), "-n", ns, "get", "pods", "--watch"))
	defer stop()
	waitLine(t, lines, "Running")
	run(t, append(append([]string{}, command...), "-n", ns, "scale", "deployment", "hello", "--replicas=4")...)
	waitLine(t, lines, "Pending")
	waitLine(t, lines, "1/1")
}
