package nodeplugins

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/test/process"
)

// buildHostdir builds both halves of the example from its own module, as its README says.
func buildHostdir(t *testing.T, into string) {
	t.Helper()
	module, err := filepath.Abs("../../sdk/examples/hostdir")
	if err != nil {
		t.Fatal(err)
	}
	for name, pkg := range map[string]string{"hostdir": ".", "hostdir-node": "./node"} {
		dir := filepath.Join(into, name)
		if err := os.CopyFS(filepath.Join(dir, "x"), os.DirFS(filepath.Join(module, pkg))); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "x", "plugin.yaml"), filepath.Join(dir, "plugin.yaml")); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "x")); err != nil {
			t.Fatal(err)
		}
		build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, name), pkg)
		build.Dir = module
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

// hostdirObjects are applied as an operator applies them.
const hostdirObjects = `
apiVersion: core.pintle.dev/v1
kind: Plugin
metadata: {name: hostdir}
spec:
  source: {directory: %[1]s/hostdir}
  allowUnsigned: true
  permissions: {grant: Requested}
---
apiVersion: core.pintle.dev/v1
kind: Plugin
metadata: {name: hostdir-node}
spec:
  nodeScoped: true
  source: {directory: %[1]s/hostdir-node}
  allowUnsigned: true
  permissions: {grant: Requested}
  privileges: [Root, DAC_OVERRIDE, FOWNER, SYS_ADMIN, MountPropagation]
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: hostdir}
provisioner: hostdir.example.dev
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: hostdir
  resources: {requests: {storage: 64Mi}}
`

// consumer is a pod that any node may have.
const consumer = `
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  hostNetwork: true
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  tolerations: [{operator: Exists}]
  containers:
  - name: sh
    image: %s
    command: [sh, -c, %q]
    volumeMounts: [{name: data, mountPath: /data, subPath: deep}, {name: scratch, mountPath: /scratch}]
  volumes:
  - name: data
    persistentVolumeClaim: {claimName: data}
  - name: scratch
    ephemeral:
      volumeClaimTemplate:
        spec: {accessModes: [ReadWriteOnce], storageClassName: hostdir, resources: {requests: {storage: 1Mi}}}
`

func (c *cluster) apply(t *testing.T, format string, args ...any) {
	t.Helper()
	file := filepath.Join(c.Dir, "apply.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, format, args...), 0o600); err != nil {
		t.Fatal(err)
	}
	c.pintle(t, "kubectl", "--kubeconfig", c.Kubeconfig(), "apply", "-f", file)
}

// A claim gets a volume on the node that its first pod is placed on; the next pod finds there what
// the first has written, and with the claim the data goes.
func TestClaimOfTheExampleStorage(t *testing.T) {
	c := start(t, "plugins: [{name: scheduler}, {name: workloads}]\n")
	buildHostdir(t, c.Dir)
	agents := map[string]*agent{"node-a": c.join(t, "node-a", "plugins: []\n"), "node-b": c.join(t, "node-b", "plugins: []\n")}
	for n := range agents {
		c.ready(t, n)
	}
	image := c.image(t)
	c.apply(t, hostdirObjects, c.Dir)
	c.runs(t, "0.1.0", "hostdir", "hostdir-node.node-a", "hostdir-node.node-b")

	c.apply(t, consumer, "writer", image, "echo hello > /data/f && echo > /scratch/f")
	writer := c.phase(t, "writer", corev1.PodSucceeded)
	c.gone(t, "writer")
	process.Eventually(t, time.Minute, "the claim of the pod goes with it", func() error {
		_, err := c.client.CoreV1().PersistentVolumeClaims(metav1.NamespaceDefault).Get(t.Context(), "writer-scratch", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return errors.Join(err, errors.New("it is there"))
		}
		return nil
	})
	c.apply(t, consumer, "reader", image, "test $(cat /data/f) = hello")
	reader := c.phase(t, "reader", corev1.PodSucceeded)
	if writer.Spec.NodeName != reader.Spec.NodeName {
		t.Errorf("the volume is on %s, and the pod was placed on %s", writer.Spec.NodeName, reader.Spec.NodeName)
	}
	c.gone(t, "reader")

	volumes := filepath.Join(agents[writer.Spec.NodeName].data(), "hosts", "node", "plugins", "hostdir-node", "volumes")
	if files, _ := filepath.Glob(filepath.Join(volumes, "*", "deep", "f")); len(files) != 1 {
		t.Errorf("the data is in %v", files)
	}
	if err := c.client.CoreV1().PersistentVolumeClaims(metav1.NamespaceDefault).Delete(t.Context(), "data", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	process.Eventually(t, time.Minute, "the volumes are gone", func() error {
		left, err := c.client.CoreV1().PersistentVolumes().List(t.Context(), metav1.ListOptions{})
		if err == nil && len(left.Items) > 0 {
			err = fmt.Errorf("%s is %+v", left.Items[0].Name, left.Items[0].Status)
		}
		if files, _ := filepath.Glob(filepath.Join(volumes, "*")); len(files) > 0 {
			err = errors.Join(err, fmt.Errorf("directories: %v", files))
		}
		return err
	})
	for _, a := range agents {
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil || strings.Contains(string(mounts), a.data()+"/hosts/node/plugins/hostdir-node/mounts/") {
			t.Errorf("something of %s is still mounted: %v", a.name, err)
		}
	}
	c.pintle(t, "plugin", "remove", "hostdir-node")
	if _, err := c.dynamic.Resource(plugins).Get(t.Context(), "hostdir-node.node-a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after its removal: %v", err)
	}
}
