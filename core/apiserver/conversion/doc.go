// Package conversion asks webhooks to bring custom resources into another version of their
// type, with ConversionReviews as CustomResourceDefinitions describe them.
//
// It must not know how objects are stored or served, nor what is in them beside their
// metadata.
package conversion
