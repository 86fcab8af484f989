// The parts of Moshi that the models use, so that they compile without the library.
package com.squareup.moshi

annotation class Json(val name: String)

annotation class JsonClass(val generateAdapter: Boolean)
