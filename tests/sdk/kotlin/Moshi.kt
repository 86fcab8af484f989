// The parts of Moshi that the generated models use. With these parts, the models compile without the library.
package com.squareup.moshi

annotation class Json(val name: String)

annotation class JsonClass(val generateAdapter: Boolean)
