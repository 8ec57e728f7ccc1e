package scaffold

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/modfile"
)

// goVersion is that of a project whose SDK is not at hand.
const goVersion = "1.26.0"

// module is the project's go.mod and go.sum.
//
// With a checkout of the SDK they hold all that the SDK itself requires, in the same versions:
// too much, which `go mod tidy` takes away, and enough where it can't run for want of a network.
func (o *Options) module() (mod, sum []byte, err error) {
	f := &modfile.File{}
	if err := f.AddModuleStmt(o.Module); err != nil {
		return nil, nil, fmt.Errorf("module %q: %w", o.Module, err)
	}
	if o.SDK == "" {
		if o.SDKVersion == "" {
			return nil, nil, errors.New("neither a directory nor a version of the SDK is given")
		}
		if err := f.AddGoStmt(goVersion); err != nil {
			return nil, nil, err
		}
		f.AddNewRequire(sdkModule, o.SDKVersion, false)
	} else if sum, err = o.fromCheckout(f); err != nil {
		return nil, nil, err
	}
	f.Cleanup()
	mod, err = f.Format()
	return mod, sum, err
}

func (o *Options) fromCheckout(f *modfile.File) (sum []byte, err error) {
	dir, err := filepath.Abs(o.SDK)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "go.mod")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the SDK's checkout: %w", err)
	}
	sdk, err := modfile.Parse(file, text, nil)
	if err != nil {
		return nil, fmt.Errorf("the SDK's checkout: %w", err)
	}
	if sdk.Module == nil || sdk.Module.Mod.Path != sdkModule || sdk.Go == nil {
		return nil, fmt.Errorf("%s is not that of %s", file, sdkModule)
	}
	if err := f.AddGoStmt(sdk.Go.Version); err != nil {
		return nil, err
	}
	f.AddNewRequire(sdkModule, "v0.0.0", false)
	for _, r := range sdk.Require {
		f.AddNewRequire(r.Mod.Path, r.Mod.Version, true)
	}
	if err := f.AddReplace(sdkModule, "", dir, ""); err != nil {
		return nil, err
	}
	sum, err = os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		return nil, fmt.Errorf("the SDK's checkout: %w", err)
	}
	return sum, nil
}
