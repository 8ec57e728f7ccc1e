package clients

import (
	"os"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pintle-dev/pintle/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m, "../..")) }

// config is the administrator's of a server, without a limit of its own.
func config(t *testing.T, s *process.Server) *rest.Config {
	t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	c.QPS = -1
	return c
}
