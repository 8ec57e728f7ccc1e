package cluster_test

import (
	"os"
	"testing"

	"github.com/pintle-dev/pintle/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m, "../..")) }
