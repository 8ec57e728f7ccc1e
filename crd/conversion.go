package crd

import "fmt"

// NoneConversion is the strategy in which versions differ by their name only.
const NoneConversion = "None"

// BuiltinSource is the Source of definitions whose objects are decoded as upstream's Go
// types are: see crd/schema.Options.Builtin.
const BuiltinSource = "builtin"

// Version returns the version of that name, or nil.
func (d *Definition) Version(name string) *Version {
	for i := range d.Versions {
		if d.Versions[i].Name == name {
			return &d.Versions[i]
		}
	}
	return nil
}

// Convert brings an object into another version of its type, in place, where the
// definition's strategy is None: only apiVersion changes. Other strategies are an error.
func (d *Definition) Convert(object map[string]any, version string) error {
	if d.Version(version) == nil {
		return fmt.Errorf("%s has no version %q", d.GroupResource(), version)
	}
	apiVersion := version
	if d.Group != "" {
		apiVersion = d.Group + "/" + version
	}
	if object["apiVersion"] == apiVersion {
		return nil
	}
	if d.Conversion != nil && d.Conversion.Strategy != NoneConversion && d.Conversion.Strategy != "" {
		return fmt.Errorf("%s: objects in %v can't be converted to %s: conversion strategy %q needs its converter",
			d.GroupResource(), object["apiVersion"], apiVersion, d.Conversion.Strategy)
	}
	object["apiVersion"] = apiVersion
	return nil
}
