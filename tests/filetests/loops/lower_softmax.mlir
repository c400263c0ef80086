// The maximum and the sum of a row are made once a row, outside the loop along it.
// run: lower
// kernel k(x: f32[32,10]) -> (y):
//   m[i] := max[j] x[i, j]
//   z[i] := sum[j] exp(x[i, j] - m[i])
//   y[i, j] := exp(x[i, j] - m[i]) / z[i]
// expect:
// module {
//   func.func @k(%x: memref<?xf32>, %y: memref<?xf32>, %errors: memref<?xi64>) {
//     %c0 = arith.constant 0 : index
//     %c32 = arith.constant 32 : index
//     %c1 = arith.constant 1 : index
//     %c10 = arith.constant 10 : index
//     %cst = arith.constant 0xFF800000 : f32
//     %cst_1 = arith.constant 0.0 : f32
//     scf.for %i = %c0 to %c32 step %c1 {
//       %0 = arith.muli %i, %c10 : index
//       %1 = scf.for %i_1 = %c0 to %c10 step %c1 iter_args(%2 = %cst) -> (f32) {
//         %3 = arith.addi %0, %i_1 : index
//         %4 = memref.load %x[%3] : memref<?xf32>
//         %5 = arith.maximumf %2, %4 : f32
//         scf.yield %5 : f32
//       } {tdsl.vector, tdsl.combine = ["maximumf"]}
//       %6 = scf.for %i_2 = %c0 to %c10 step %c1 iter_args(%7 = %cst_1) -> (f32) {
//         %8 = arith.addi %0, %i_2 : index
//         %9 = memref.load %x[%8] : memref<?xf32>
//         %10 = arith.subf %9, %1 : f32
//         %11 = math.exp %10 : f32
//         %12 = arith.addf %7, %11 : f32
//         scf.yield %12 : f32
//       } {tdsl.vector, tdsl.combine = ["add"]}
//       scf.for %i_3 = %c0 to %c10 step %c1 {
//         %13 = arith.addi %0, %i_3 : index
//         %14 = memref.load %x[%13] : memref<?xf32>
//         %15 = arith.subf %14, %1 : f32
//         %16 = math.exp %15 : f32
//         %17 = arith.divf %16, %6 : f32
//         memref.store %17, %y[%13] : memref<?xf32>
//         scf.yield
//       } {tdsl.vector}
//       scf.yield
//     } {tdsl.parallel, tdsl.cost = 370 : i64}
//     func.return
//   }
// }
