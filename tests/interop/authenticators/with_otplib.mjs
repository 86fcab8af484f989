// Computes codes with otplib. Reads a URI and times as JSON from standard input, writes codes as JSON to
// standard output.

import { parse } from '@otplib/uri'
import { generate } from 'otplib'
import { text } from 'node:stream/consumers'

const { uri, times } = JSON.parse(await text(process.stdin))
const { params } = parse(uri)
const codes = await Promise.all(times.map((epoch) => generate({ ...params, epoch })))
console.log(JSON.stringify(codes))
