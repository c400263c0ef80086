// Outputs of a row and of its elements are made in one nest.
// run: lower
// kernel k(x: f32[7,33]) -> (m, y):
//   m[i] := mean[j] x[i, j]
//   y[i, j] := x[i, j] - m[i]
// expect:
// module {
//   func.func @k(%x: memref<?xf32>, %m: memref<?xf32>, %y: memref<?xf32>, %errors: memref<?xi64>) {
//     %c0 = arith.constant 0 : index
//     %c7 = arith.constant 7 : index
//     %c1 = arith.constant 1 : index
//     %c33 = arith.constant 33 : index
//     %cst = arith.constant 0.0 : f32
//     %0 = arith.index_cast %c33 : index to i64
//     %1 = arith.sitofp %0 : i64 to f32
//     scf.for %i = %c0 to %c7 step %c1 {
//       %2 = arith.muli %i, %c33 : index
//       %3 = scf.for %i_1 = %c0 to %c33 step %c1 iter_args(%4 = %cst) -> (f32) {
//         %5 = arith.addi %2, %i_1 : index
//         %6 = memref.load %x[%5] : memref<?xf32>
//         %7 = arith.addf %4, %6 : f32
//         scf.yield %7 : f32
//       } {tdsl.vector, tdsl.combine = ["add"]}
//       %8 = arith.divf %3, %1 : f32
//       memref.store %8, %m[%i] : memref<?xf32>
//       scf.for %i_2 = %c0 to %c33 step %c1 {
//         %9 = arith.addi %2, %i_2 : index
//         %10 = memref.load %x[%9] : memref<?xf32>
//         %11 = arith.subf %10, %8 : f32
//         memref.store %11, %y[%9] : memref<?xf32>
//         scf.yield
//       } {tdsl.vector}
//       scf.yield
//     } {tdsl.parallel, tdsl.cost = 199 : i64}
//     func.return
//   }
// }
