package cluster_test

import (
	"os"
	"testing"

	"github.com/pintle-dev/pintle/test/process"
)

// TestMain lets the test binary play the plugin, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "reader" {
		playReader(os.Args[2])
		return
	}
	os.Exit(process.Main(m, "../.."))
}
